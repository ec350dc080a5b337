#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Make every vector again and compare it with the tree; the readahead classifier too where $NEURAL_DATA has it.
# Exit status: 0 all as in the tree, 1 not, 4 skipped (no Python).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/venv.sh" "$here/requirements.txt")
export PYTHONDONTWRITEBYTECODE=1

failed=0
"$python" "$here/train_digits.py" --check || failed=1
"$python" "$here/make_onnx.py" --check || failed=1
"$python" "$here/make_float.py" --check || failed=1
"$python" "$here/make_codes.py" --check || failed=1

"$python" "$here/kml.py" || failed=1

"$python" "$here/floats.py" --check || failed=1
"$python" "$here/codes_ops.py" --check || failed=1

for maker in make_tflite int8 tflite_models; do
	status=0
	python3 "$here/$maker.py" --check || status=$?
	case $status in
	0 | 4) ;;
	*) failed=1 ;;
	esac
done
exit "$failed"
