# pan
