"""The candidate's own code with small changes in it: which one would make its numbers right?"""
