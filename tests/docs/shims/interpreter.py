"""Runs Python blocks that arrive as JSON, a line each, in one namespace; answers with null or a traceback.

Runs in these blocks are short, as in the tests' own process.
"""

import json
import os
import re
import sys
import traceback

sys.path[0] = os.getcwd()  # as in a session that a reader starts in that folder
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what blocks print must not mix with the answers
namespace: dict[str, object] = {"__name__": "__main__"}
for line in sys.stdin:
    failure = None
    text = json.loads(line)["text"]
    try:
        if re.search(r"onnxshallow\.(optimize|pareto|apply|bench)\(", text):
            from tests.short_runs import shorten

            shorten()
        exec(compile(text, "<block>", "exec"), namespace)
    except BaseException:
        failure = traceback.format_exc()
    answers.write(json.dumps(failure) + "\n")
    answers.flush()
