"""Running a KME: its configuration, its process, and what operators see and do."""
