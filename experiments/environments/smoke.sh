#!/bin/sh
# The study at its smallest: does it still run?
set -eu
cd "$(dirname "$0")/../.."
python -m experiments.environments.study --smoke
