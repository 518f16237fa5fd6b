"""Who is looked at, and in which words: data sets, pictures, label sets, templates."""
