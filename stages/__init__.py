"""One recipe per DVC stage.

`python -m stages.search artifacts/prepare artifacts/warmup artifacts/search`.
"""

import sys

# First, before anything slow is imported: it hashes the code.
from pipeline.exchange.stage import end_when_told

if sys.argv[0] == "-m":  # a stage that is being started, not an import of one
    end_when_told()
