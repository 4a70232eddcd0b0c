#!/usr/bin/env bash
# Kill -9 of the PN GW after each step of Figures 6 and 7.
set -euo pipefail
victim=gateway
# shellcheck source=tests/crash.sh
. "${PNGW_SRCDIR:?}/tests/crash.sh"
