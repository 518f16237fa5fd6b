"""Which of several captions of a camera's scene, some nearly right, does the model choose?"""
