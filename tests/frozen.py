"""The last that a warm process imports: the garbage collector looks no more at what all forks share.

Trainers and engines collect garbage when they close, which took a third of each fork's time.
"""

import gc

gc.collect()
gc.freeze()
