"""The dashboard under its earlier name."""

from app import main

main()
