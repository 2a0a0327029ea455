"""Providers that are connected with their parameters alone: one file for each, `NAME.toml`.

`kind = "NAME"` in `receiver.toml` means the table `provider` of that file, in which `${PARAMETER}` stands for what the
user set. Any other key of the user's table overrides the entry's. `receiver.schemas.catalog` describes the files.
"""
