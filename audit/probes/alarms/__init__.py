"""Who is alarmed about wrongly, whose events are missed, and what would moving the threshold do?"""
