"""What the dashboard's pages share: which run, words and tables, charts."""
