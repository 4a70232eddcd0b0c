#!/usr/bin/env bash
# Kill -9 of the CPNS Server after each step of Figures 6 and 7.
set -euo pipefail
victim=server
# shellcheck source=tests/crash.sh
. "${PNGW_SRCDIR:?}/tests/crash.sh"
