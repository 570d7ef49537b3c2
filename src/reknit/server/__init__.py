"""The app's server: pictures, jobs and the page over HTTP. Inpainting itself is not known here."""
