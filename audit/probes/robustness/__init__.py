"""What do distance, blur, darkness, compression and fog cost, and whom most?"""
