# tests of pne
