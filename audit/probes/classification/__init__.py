"""Which of a set of labels does the model choose for each picture?"""
