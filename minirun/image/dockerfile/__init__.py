"""commit --change and import --change: Dockerfile instructions without a build."""
