"""An audit of one's own data: which rows hurt a model, and does it help to remove them?

`datagradient.auditing.run.audit` is the whole of it: `setup` reads the data and chooses a model, `judging` decides and
measures, `answer` says what that means, `files` writes it.
"""
