#!/usr/bin/env bash
# Kill -9 of the PNE after each step of Figures 6 and 7.
set -euo pipefail
victim=pne
# shellcheck source=tests/crash.sh
. "${PNGW_SRCDIR:?}/tests/crash.sh"
