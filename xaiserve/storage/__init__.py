"""Bytes in and out of disks, S3, picture files and Parquet."""
