TESTS += tests/test-pngwctl.sh tests/test-pngwctl-shell.sh
EXTRA_DIST += tests/test-pngwctl.sh tests/test-pngwctl-shell.sh tests/pngwctl-shell.py
