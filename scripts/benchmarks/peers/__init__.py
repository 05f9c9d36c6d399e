"""The others, each a process of its own: published recipes in our own writing, and the loops without a framework.

Each prints one JSON object as its last line. None imports dlcourse's library, so that none profits or suffers from it.
"""
