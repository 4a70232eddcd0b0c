# tests of protocol
