# tests of pan
