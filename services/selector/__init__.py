"""The selector: which deployments may answer a request, and in what order.

It filters what cannot or may not take the request, ranks the rest by public benchmark scores, price, quota, live
health and latency, and says why. It learns of the world from two files and a snapshot in Redis.
"""
