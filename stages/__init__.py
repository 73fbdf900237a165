"""One recipe per DVC stage.

`python -m stages.search artifacts/prepare artifacts/warmup artifacts/search`.
"""

import pipeline.exchange.stage  # noqa: F401 - hashes the code before anything slow is imported
