TESTS += tests/test-pngwctl.sh tests/test-pngwctl-shell.sh
EXTRA_DIST += tests/test-pngwctl.sh tests/test-pngwctl-shell.sh tests/pngwctl-shell.py
TESTS += tests/test-man.sh
EXTRA_DIST += tests/test-man.sh tests/man-pages.py
TESTS += tests/test-console.sh
EXTRA_DIST += tests/test-console.sh tests/console-person.py
