"""The pure core of a campaign: a state and an event give the next state, work to do and commits to write.

It may import any room of `population` and `fitness`, and those of `evolve` up to `evolve.planning`. Its public things
are `transition.begin`, `transition.accept`, `state.State`, `events`, `front.FrontPoint`, `summary.summary_of`.
"""
