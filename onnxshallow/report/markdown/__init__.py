"""Reports as Markdown: summaries for pull requests, and the card of a model."""
