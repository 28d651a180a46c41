#!/usr/bin/env bash
# The tests that touch Gymnasium, with the oldest version that is supported, one between, and the newest:
#     bash tests/gymnasium_versions.sh [VERSION ...]
# Each gets a virtual environment with that Gymnasium; whatever else it imports is what $PYTHON has. All of them are tested, also
# after one has failed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[ $# -gt 0 ] || set -- 1.0 1.2 1.4
failed=()
for version; do
    "$python" -m venv "$scratch/$version"
    "$scratch/$version/bin/pip" install --quiet --no-deps "gymnasium==$version.*"
    # A .pth file is read after the environment's own packages, so this Gymnasium comes first.
    "$python" -c 'import os, sys; print(os.getcwd(), *filter(None, sys.path), sep="\n")' \
        >"$(echo "$scratch/$version"/lib/python*/site-packages)/zz_shared.pth"
    "$scratch/$version/bin/python" -c 'import gymnasium; print("\n== Gymnasium", gymnasium.__version__)'
    "$scratch/$version/bin/python" -m pytest -p no:cacheprovider -m "not slow" \
        tests/envs tests/batches/test_collect.py tests/batches/test_collector.py tests/training/test_agent.py \
        tests/training/test_recommended.py tests/cli || failed+=("$version")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "tests fail with Gymnasium ${failed[*]}"
    exit 1
fi
