"""hikari: what a bot usually does, against the server at DISCORD_API_URL."""

import os

import hikari

bot = hikari.GatewayBot(os.environ["DISCORD_BOT_TOKEN"], rest_url=os.environ["DISCORD_API_URL"], banner=None)


@bot.listen()
async def register(_: hikari.StartingEvent) -> None:
    application = await bot.rest.fetch_application()
    hello = bot.rest.slash_command_builder("hello", "Greets").add_option(
        hikari.CommandOption(type=hikari.OptionType.STRING, name="name", description="whom", is_required=True)
    )
    work = bot.rest.slash_command_builder("work", "Does what bots do")
    await bot.rest.set_application_commands(application.id, [hello, work])


@bot.listen()
async def answer(event: hikari.InteractionCreateEvent) -> None:
    interaction = event.interaction
    if not isinstance(interaction, hikari.CommandInteraction):
        return
    if interaction.command_name == "hello":
        text = f"hello {interaction.options[0].value}"
        await interaction.create_initial_response(hikari.ResponseType.MESSAGE_CREATE, text)
        return
    await interaction.create_initial_response(hikari.ResponseType.DEFERRED_MESSAGE_CREATE)
    me, channel = bot.get_me(), interaction.channel_id
    async with bot.rest.trigger_typing(channel):
        message = await bot.rest.create_message(channel, "first")
    await message.edit("second")
    await message.add_reaction("👍")
    fetched = await bot.rest.fetch_message(channel, message.id)
    assert fetched.content == "second"
    assert [str(each.emoji) for each in fetched.reactions] == ["👍"]
    assert [user.id async for user in bot.rest.fetch_reactions_for_emoji(channel, message, "👍")] == [me.id]
    assert [each.content async for each in bot.rest.fetch_messages(channel).limit(1)] == ["second"]
    assert [member.is_bot async for member in bot.rest.fetch_members(interaction.guild_id)].count(True) == 1
    await message.remove_reaction("👍")
    await message.delete()
    await interaction.edit_initial_response("done")
    followup = await interaction.execute("more")
    await interaction.edit_message(followup, "more, edited")
    await interaction.delete_message(followup)


bot.run()
