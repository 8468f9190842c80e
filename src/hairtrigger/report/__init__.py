"""The report: summary.json with every number, and one self-contained page that shows them."""
