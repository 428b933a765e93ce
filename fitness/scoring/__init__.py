"""Outputs to scores: cuts a stack into tiles, has it judged, and computes each row's verdict, scores and costs with the
labels.

It may import any room of `population`, and those of `fitness` up to `fitness.benchmarks`. Its public things are
`measure.measure`, `judge_rows.judge_stack`, `judge_episodes.play_stack`, `examiner.Examiner`, `score_sheet.Sheet`,
`user_scores`.
"""
