"""The same classification on several sources of pictures: what is lost, and by whom?"""
