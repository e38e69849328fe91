"""The kernels once more, as loops over Python floats: what judges the reference.

Nothing here comes from the package, nor from NumPy. Every function carries the name of a row of the
kernel table. It takes the arrays that the kernel reads (lists, or lists of lists) and its
constants, and returns what the kernel computes by the name of the output. Whether that is set or
added, and the dtype in which it is stored, is the business of the caller. What a kernel returns
stands under "return". Where a formula has two forms, this is the one that the package does not use.
"""

# F403: one table of kernels, though its rows stand in several files.
from naive.activations import *  # noqa: F403
from naive.layers import *  # noqa: F403
from naive.losses import *  # noqa: F403
from naive.updates import *  # noqa: F403
