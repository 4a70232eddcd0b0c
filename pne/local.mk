# pne
