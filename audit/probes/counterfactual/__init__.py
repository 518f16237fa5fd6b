"""One thing in a picture is changed; does the model's answer change with it?"""
