"""One recipe per DVC stage.

`python -m stages.search artifacts/prepare artifacts/warmup artifacts/search`.
"""

import sys

if sys.argv[0] == "-m":  # Python sets it while it looks for the module of `python -m stages.search`
    from pipeline.console.ending import end_imports_in_one_line
    from pipeline.console.interruption import end_when_told

    end_imports_in_one_line()
    end_when_told(next(word for word in sys.orig_argv if "stages." in word).rpartition(".")[2])
    if sys.getfilesystemencoding() != "utf-8":  # 'Hündin' would be misread
        sys.exit("names of files are not UTF-8 in this locale; set PYTHONUTF8=1")

    from pipeline.console.stage import remember_code

    remember_code()
