# tests of wan
