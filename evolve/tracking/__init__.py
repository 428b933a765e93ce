"""The seam to whatever shows a campaign elsewhere, and MLflow behind it, which may be slow or absent.

It may import any room of `population`, and `evolve.runtime`. Its public things are `protocol.Tracker`,
`protocol.NullTracker`, `mlflow_tracker.MlflowTracker`, `outbox.Outbox`.
"""
