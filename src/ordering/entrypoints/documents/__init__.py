"""Documents for other programs and for people, generated from what the program itself goes by: never written by hand.

``asyncapi`` describes the topic, ``lifecycle`` draws the steps an order may take; the OpenAPI documents come from the
HTTP apps.
"""
