"""Runs a model inside its framework's own environment: a job in, what was seen out, over a pipe.

Imports the standard library, numpy, msgpack, pillow and one framework, and nothing else of ours:
in a foreign environment this folder is loaded alone, as the package `mlms_worker`.

Does not know: the bus, manifests as files, other nodes, who asked.
"""

BOOTSTRAP = """\
import sys
if sys.version_info < (3, 11):
    sys.exit("Python %d.%d is too old: a worker needs 3.11 or newer" % sys.version_info[:2])
import importlib.util
sys.path[:] = [path for path in sys.path if path]
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location(
    "mlms_worker", folder + "/__init__.py", submodule_search_locations=[folder]
)
sys.modules["mlms_worker"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from mlms_worker.main import main
sys.exit(main(sys.argv[2:]))
"""
"""For `python -c BOOTSTRAP FOLDER --read-fd N --write-fd M` or `… --describe --plugin NAME=PATH`.

The empty entry of sys.path goes: a file in the current folder must not hide a library.
"""
