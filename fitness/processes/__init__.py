"""Jailed processes of any role: a zygote that forks them, messages, shared memory, limits, verdicts, and the jail's
level.

It may import any room of `population`, and `fitness.jail`. Its public things are `zygote.Zygote`,
`zygote_server.serve`, `jailed_process`, `messages`, `limits.Limits`, `verdicts`, `isolation.probe`.
"""
