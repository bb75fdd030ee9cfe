"""`rectbot join`: what makes a host the site of an invitation."""
