"""Each stage of the workflow: a function from the job to how the stage ended."""
