"""Durable effects behind one seam: whole files, appends, locks, and what the machine's refusals mean.

It may import `population.errors`. Its public things are `protocol.FileSystem`, `local_files.LocalFiles`,
`memory_files.MemoryFiles`, `os_errors.told`, `user_file.read_user_file`.
"""
