"""What `docker pull` leaves behind: names, an OCI image layout, unpacked layers, the overlay mount."""
