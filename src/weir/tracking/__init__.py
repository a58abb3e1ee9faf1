"""Tracking in MLflow: the settings, curves, figures and lineage that runs leave behind.

A stage never talks to MLflow. It appends events to a journal on disk (`journal`), and a separate
process, the shipper, sends them on (`ship`, `shipper`): a slow or dead server costs training
nothing, and whatever was not confirmed is sent later.
"""
