"""The interfaces of other projects' training code, on top of this package: one import changes, the script stays.

`space_from_options` makes a space of their option files; the modules have the names, arguments and results of the project
they are called after: `osediff` (also PiSA-SR), `seesr`, `pasd` (also DLoRAL), `faithdiff`, `hypir`, `diffbir`, `basicsr`
(also Real-ESRGAN), `redux` (traiNNer-redux), `neosr`, `kair`; for clips `dove` and `mmagic` (RealBasicVSR).
"""

from __future__ import annotations

from ..loading.numbers import SampleNumbers
from .options import DIALECTS, Imported, Report, imported, space_from_options

__all__ = ["DIALECTS", "Imported", "Report", "SampleNumbers", "imported", "space_from_options"]
