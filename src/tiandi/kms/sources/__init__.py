"""Where link key comes from, other than from links of our own: other makers' boxes, and files."""
