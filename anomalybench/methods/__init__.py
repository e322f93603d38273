"""The built-in methods: in a checkout the top-level folder `methods`, in a wheel the files beside this one."""

from anomalybench.core import places

if (_root := places.checkout()) is not None:
    __path__.append(str(_root / "methods"))
